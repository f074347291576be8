"""Changes by rules on their way to the other processes: the last one of each entry arrives, however long it takes."""

from __future__ import annotations

from collections.abc import Callable

from headgate.app.repeating import Repeater


class Controller:
    """Answers when it is told to, or not at all."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Callable[[str], None]]] = []
        self.later: list[Callable[[], None]] = []
        self.repeater = Repeater(lambda command, answered: self.asked.append((command, answered)), self._later)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self.later.append(call)

    def answer(self, text: str) -> list[str]:
        asked, self.asked = self.asked, []
        for _, answered in asked:
            answered(text)
        return [command for command, _ in asked]


def test_few_are_under_way_and_the_last_of_each_entry_counts() -> None:
    controller = Controller()
    for number in range(100):
        controller.repeater.tell(f"set map @= #0 =k{number} =1")
    first = controller.answer("Repeated.")
    assert len(first) == 32
    controller.repeater.tell("set map @= #0 =k99 =2")
    rest = []
    while controller.asked:
        rest += controller.answer("Repeated.")
    assert len(first) + len(rest) == 100 and rest[-1].endswith("=k99 =2")


def test_what_did_not_arrive_is_told_again_unless_something_newer_is() -> None:
    controller = Controller()
    controller.repeater.tell("set map @= #0 =a =1")
    controller.repeater.tell("set map @= #0 =b =1")
    controller.answer("")
    controller.repeater.tell("del map @= #0 =b")
    assert not controller.asked and len(controller.later) == 1
    assert controller.repeater.lost == 0
    controller.later.pop()()
    assert sorted(controller.answer("refused")) == ["del map @= #0 =b", "set map @= #0 =a =1"]
    assert not controller.asked and not controller.later


def test_changes_of_one_entry_arrive_in_their_order() -> None:
    controller = Controller()
    controller.repeater.tell("set map @= #0 =a =1")
    controller.repeater.tell("set map @= #0 =a =2")
    assert controller.answer("Repeated.") == ["set map @= #0 =a =1"]
    assert controller.answer("Repeated.") == ["set map @= #0 =a =2"]
