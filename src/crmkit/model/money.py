"""Money as integer minor units of one currency; never a float."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from typing import Final

import attrs

from crmkit.errors import InvalidInput

# ISO 4217 currencies whose minor unit is not the hundredth.
_DIGITS: Final = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
}
_LONGEST = 40  # digits of an amount as it is given
_EXACT: Final = Context(prec=_LONGEST + 10)
_LARGEST_MINOR: Final = 10**15  # sums of thousands of such amounts still fit 64 bits


def digits(currency: str) -> int:
    """How many decimal places the currency has."""
    return _DIGITS.get(currency, 2)


def to_minor(value: object, currency: str, *, field: str) -> int:
    """Minor units from an int, str, Decimal or float (read through its shortest text).

    Raises `InvalidInput` for what is no number, is not finite, or is finer than
    the currency's minor unit.
    """
    amount = _number(value, field)
    if not amount.is_finite():
        raise InvalidInput("expected a finite amount", field=field)
    # The exponent first: arithmetic on a monstrous one overflows, or rounds to zero.
    if amount and not -_LONGEST <= amount.adjusted() < _LONGEST:
        raise InvalidInput("amount out of range", field=field)
    if len(amount.as_tuple().digits) > _LONGEST or abs(amount) > _LARGEST_MINOR:
        raise InvalidInput("amount out of range", field=field)
    minor = _EXACT.multiply(amount, 10 ** digits(currency))
    if minor != minor.to_integral_value():
        raise InvalidInput(
            f"{currency} has {digits(currency)} decimal places, the amount has more", field=field
        )
    if abs(minor) > _LARGEST_MINOR:
        raise InvalidInput("amount out of range", field=field)
    return int(minor)


def _number(value: object, field: str) -> Decimal:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_MINOR:
        return Decimal(value)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float) or (isinstance(value, str) and len(value) <= _LONGEST):
        try:
            return Decimal(str(value).strip())
        except InvalidOperation:
            pass
    raise InvalidInput("expected an amount such as 150 or '150.00'", field=field)


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
