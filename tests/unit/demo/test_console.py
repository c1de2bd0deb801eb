import io

from deploy.demo.console import WIDTH, Console, Ink, Mark


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_line_is_wider_than_a_terminal_of_a_hundred_columns() -> None:
    stream = io.StringIO()
    console = Console(stream, environ={})
    console.line(Mark.TRUE, "word " * 60)
    console.table(("attempt", "answer", "reason"), [("a" * 70, "b" * 40, "c" * 30), ("x", "y", "z")])
    assert max(len(line) for line in stream.getvalue().splitlines()) <= WIDTH


def test_columns_of_a_table_are_aligned() -> None:
    stream = io.StringIO()
    Console(stream, environ={}).table(("name", "n"), [("one", "1"), ("three", "3")])
    assert stream.getvalue().splitlines() == ["   name   n", "   one    1", "   three  3"]


def test_colours_and_progress_are_for_terminals_only() -> None:
    stream = io.StringIO()
    console = Console(stream, environ={})
    console.progress("waiting")
    console.plain("done", Ink.GREEN)
    assert stream.getvalue() == "done\n"


def test_no_color_is_respected_on_a_terminal() -> None:
    stream = Terminal()
    Console(stream, environ={"NO_COLOR": "1", "TERM": "xterm"}).plain("done", Ink.GREEN)
    assert stream.getvalue() == "done\n"


def test_a_terminal_gets_colours_and_the_progress_line_is_wiped() -> None:
    stream = Terminal()
    console = Console(stream, environ={"TERM": "xterm"})
    console.progress("waiting")
    console.plain("done", Ink.GREEN)
    assert stream.getvalue().endswith("\r\x1b[2K\x1b[32mdone\x1b[0m\n")


def test_what_a_device_sends_cannot_steer_the_terminal() -> None:
    stream = Terminal()
    Console(stream, environ={"NO_COLOR": "1", "TERM": "xterm"}).line(Mark.TOLD, "a\x1b[2Jb\u202ec")
    assert "\x1b" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()
