"""Numbers as they are written in a sentence, with two significant digits."""

from math import floor, log10

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """A number with two significant digits.

    >>> number(0.0123), number(170.4), number(-0.5), number(2e-7), number(0)
    ('0.012', '170', '−0.5', '2 × 10⁻⁷', '0')
    """
    if value == 0:
        return "0"
    exponent = floor(log10(abs(value)))
    rounded = float(f"{value:.1e}")
    if -5 < exponent < 6:
        text = f"{rounded:,.{max(0, 1 - exponent)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        power = str(floor(log10(abs(rounded)))).translate(SUPERSCRIPTS)
        text = f"{float(f'{rounded / 10.0 ** floor(log10(abs(rounded))):.1f}'):g} × 10{power}"
    return text.replace("-", "−")


def percent(share: float, signed: bool = False) -> str:
    """A share in percent.

    >>> percent(0.123), percent(-0.05, signed=True), percent(0.05, signed=True)
    ('12 %', '−5 %', '+5 %')
    """
    return f"{'+' if signed and share > 0 else ''}{number(100 * share)} %"
