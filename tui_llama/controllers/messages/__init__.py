"""What the user does with single messages: edit, delete, branch, versions, the tree, other answers."""
