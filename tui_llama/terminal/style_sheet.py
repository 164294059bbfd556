"""Style sheets that are read once, and again only where that makes a difference."""

from textual.css.stylesheet import Stylesheet


class SteadyStylesheet(Stylesheet):
    """Textual's style sheets. It would parse all of them twice before the first frame: the theme is new at the start.

    Args:
        variables: The variables that the style sheets use, by their names.
    """

    def __init__(self, *, variables: dict[str, str] | None = None) -> None:
        super().__init__(variables=variables)
        self._is_outdated = False

    def set_variables(self, variables: dict[str, str]) -> None:
        """Takes other variables; the same ones change nothing."""
        if variables != self._variables:
            super().set_variables(variables)
            self._is_outdated = bool(self._rules)

    def reparse(self) -> None:
        """Parses all again, if what was parsed has other variables."""
        if self._is_outdated:
            super().reparse()
            self._is_outdated = False
