from _shop import changes


def handler(order, context):
    with changes() as shop:
        shop.execute("UPDATE charged SET cents = 0 WHERE id = ?", (order["id"],))
    return {"refunded": True}
