"""Amounts of money: exact decimals, never finer than the smallest unit of their currency."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from core.errors import Invalid

_IN_USE: Final = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS
INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP
MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
SDG SEK SGD SHP SLE SOS SRD SSP STN SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST
XAF XCD XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES: Final = frozenset(_IN_USE.split())
"""ISO 4217's currencies in use."""

_WHOLE: Final = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"}
)
"""Those without a smaller unit. The few with thousandths are kept to hundredths, as the store's columns are."""

LARGEST: Final = Decimal("99999999.99")
ZERO: Final = Decimal("0.00")


class CurrencyUnknown(Invalid):
    """This is no currency in use; give its three letters of ISO 4217, such as KES."""


class AmountUnusable(Invalid):
    """This amount can't be paid; give one from 0 to 99,999,999.99 in whole units of its currency's smallest coin."""


def get_unit(currency: str) -> Decimal:
    """Return the smallest amount of the currency; raises `CurrencyUnknown`."""
    if currency not in CURRENCIES:
        raise CurrencyUnknown
    return Decimal(1) if currency in _WHOLE else Decimal("0.01")


def round_money(amount: Decimal, currency: str) -> Decimal:
    """Return the amount to the nearest unit of its currency, halves up, with the two places the store keeps."""
    return amount.quantize(get_unit(currency), ROUND_HALF_UP).quantize(ZERO)


def check_money(amount: Decimal, currency: str) -> Decimal:
    """Return the amount with two places; raises `AmountUnusable` where that would change it."""
    if not amount.is_finite() or not 0 <= amount <= LARGEST or round_money(amount, currency) != amount:
        raise AmountUnusable
    return amount.quantize(ZERO)
