"""What the composer is made of beside its text: the messages that were sent, and those that wait to be sent."""
