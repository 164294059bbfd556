"""Parts the thinking and the tool calls from the text of an answer."""
