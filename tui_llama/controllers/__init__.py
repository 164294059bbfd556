"""The controllers of the app. Each carries out the requests of the screens about one subject."""
