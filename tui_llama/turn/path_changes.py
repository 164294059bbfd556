"""Carries out what the user changes of the path of a chat: an edited answer, a deletion, another branch, an undo."""

from tui_llama import conversation
from tui_llama.chats.open_chat import OpenChat
from tui_llama.errors import CallerError


def change_path(chat: OpenChat, change: conversation.ChangePath) -> None:
    """Changes the path of a chat in which no answer is open.

    Raises:
        CallerError: nobody knows how to make this change.
    """
    match change:
        case conversation.EditAnswer(position=position, text=text):
            chat.replace_answer(position, text)
        case conversation.DeleteMessage(position=position, is_alone=True):
            chat.delete_message_alone(position)
        case conversation.DeleteMessage(position=position):
            chat.delete_message(position)
        case conversation.Branch(position=position):
            chat.branch_after(position)
        case conversation.ShowMessage(message_id=message_id):
            chat.show_message(message_id)
        case conversation.Undo():
            chat.undo()
        case _:
            raise CallerError(f"No path follows from {type(change).__name__}.")
