"""Money as integer minor units of one currency; never a float."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

import attrs

from crmkit.errors import InvalidInput

# ISO 4217 currencies whose minor unit is not the hundredth.
_DIGITS: Final = {
    **dict.fromkeys(
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split(), 0
    ),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
}
_LARGEST_MINOR: Final = 10**15  # sums of thousands of such amounts still fit 64 bits


def digits(currency: str) -> int:
    """How many decimal places the currency has."""
    return _DIGITS.get(currency, 2)


def to_minor(value: object, currency: str, *, field: str) -> int:
    """Minor units from an int, str, Decimal or float (read through its shortest text).

    Raises `InvalidInput` for what is no number, is not finite, or is finer than
    the currency's minor unit.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal, float)):
        raise InvalidInput("expected an amount such as 150 or '150.00'", field=field)
    if isinstance(value, str) and len(value) > 40:
        raise InvalidInput("expected an amount such as 150 or '150.00'", field=field)
    if isinstance(value, int):
        if abs(value) > _LARGEST_MINOR:
            raise InvalidInput("amount out of range", field=field)
        amount = Decimal(value)
    else:
        try:
            amount = Decimal(str(value).strip())
        except InvalidOperation as error:
            raise InvalidInput("expected an amount such as 150 or '150.00'", field=field) from error
    if not amount.is_finite():
        raise InvalidInput("expected a finite amount", field=field)
    if abs(amount) > _LARGEST_MINOR:
        raise InvalidInput("amount out of range", field=field)
    minor = amount.scaleb(digits(currency))
    if minor != minor.to_integral_value():
        raise InvalidInput(
            f"{currency} has {digits(currency)} decimal places, the amount has more", field=field
        )
    if abs(minor) > _LARGEST_MINOR:
        raise InvalidInput("amount out of range", field=field)
    return int(minor)


@attrs.frozen(order=False)
class Money:
    """An amount in a currency's minor units: ``Money(15000, "EUR")`` is 150.00 EUR."""

    minor: int
    currency: str

    @property
    def amount(self) -> Decimal:
        """The amount in major units."""
        return Decimal(self.minor).scaleb(-digits(self.currency))

    def __add__(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise InvalidInput("amounts of two currencies cannot be added", field="currency")
        return Money(self.minor + other.minor, self.currency)

    def __str__(self) -> str:
        return f"{self.amount:,.{digits(self.currency)}f} {self.currency}"
