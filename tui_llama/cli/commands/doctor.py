"""`tui-llama doctor`: one page about this machine and this program, to be pasted into a bug report."""

import os
import sys

import click


@click.command()
@click.option("--json", "is_json", is_flag=True, help="Print JSON for programs.")
@click.pass_context
def doctor(context: click.Context, is_json: bool) -> None:
    """Looks for problems and prints a page that is safe to publish.

    The page has no text of your chats and no names of users, machines or home folders. The command takes about a
    second and does not use a network. Exit status: 0 nothing is wrong, 1 something is.
    """
    from tui_llama.doctor.examination import examine
    from tui_llama.doctor.privacy import privacy_of_this_user
    from tui_llama.doctor.report import as_json, as_page, what_is_wrong, with_texts
    from tui_llama.output import Output
    from tui_llama.text_safety import sanitize_line

    output = Output(sys.stdout, sys.stderr)
    hide = privacy_of_this_user(os.environ).hide
    with output.closing():
        sections = examine(os.environ, output.progress)
        # Made safe before it is hidden: what is dropped could else hold a name apart.
        shown = with_texts(sections, lambda text: hide(sanitize_line(text)))
        output.result(as_json(shown) if is_json else as_page(shown))
    if what_is_wrong(shown):
        context.exit(1)
