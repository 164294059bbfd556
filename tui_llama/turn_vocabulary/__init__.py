"""The words of the turn table: the states of a chat, what may happen, and what is to be done."""
