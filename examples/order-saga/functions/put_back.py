from _shop import changes


def handler(order, context):
    with changes() as shop:
        rows = shop.execute("SELECT article, pieces FROM reserved WHERE id = ?", (order["id"],)).fetchall()
        for article, pieces in rows:
            shop.execute("UPDATE stock SET pieces = pieces + ? WHERE article = ?", (pieces, article))
        shop.execute("DELETE FROM reserved WHERE id = ?", (order["id"],))
    return {"put back": len(rows)}
