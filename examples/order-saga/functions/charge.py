"""Stands for the bank: a card may be declined, and the bank may be busy for a moment."""
from _shop import changes


class CardDeclined(Exception):
    pass


class BankBusy(Exception):
    pass


def handler(order, context):
    if order["card"] == "declined":
        raise CardDeclined("the bank declined the card")
    cents = sum(100 * line["pieces"] * line["price"] for line in order["lines"])
    with changes() as shop:
        shop.execute("INSERT OR IGNORE INTO charged VALUES (?, 0, 0)", (order["id"],))
        shop.execute("UPDATE charged SET tries = tries + 1 WHERE id = ?", (order["id"],))
        (tries,) = shop.execute("SELECT tries FROM charged WHERE id = ?", (order["id"],)).fetchone()
        if not (order["card"] == "busy" and tries == 1):
            # Whatever was charged before for this order was the same.
            shop.execute("UPDATE charged SET cents = ? WHERE id = ?", (cents, order["id"]))
            return {"cents": cents}
    raise BankBusy("try again")
