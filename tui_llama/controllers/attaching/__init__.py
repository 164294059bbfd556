"""Attachments: of the message that is being written, and of those that were sent."""
