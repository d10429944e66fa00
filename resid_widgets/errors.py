"""The errors a user of the package can meet, and the one way their text is put together."""

from __future__ import annotations


class ResidWidgetsError(Exception):
    """Base of every error the package raises on purpose."""


class InputError(ResidWidgetsError, ValueError):
    """An argument breaks a rule. The text names the value, the rule and the remedy."""

    @classmethod
    def about(cls, name: str, value: object, rule: str, remedy: str) -> InputError:
        """Build the error from its three parts: what was given, what must hold, what to do."""
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        return cls(f"{name}={shown}: {rule}. {remedy}")


class UnsupportedModelError(ResidWidgetsError):
    """The model (or one of its sites) cannot be shown truthfully; the text gives the reason."""
