from _shop import changes


class OutOfStock(Exception):
    pass


def handler(order, context):
    with changes() as shop:
        for line in order["lines"]:
            article, pieces = line["article"], line["pieces"]
            if shop.execute("SELECT 1 FROM reserved WHERE id = ? AND article = ?", (order["id"], article)).fetchone():
                continue
            taken = shop.execute(
                "UPDATE stock SET pieces = pieces - ? WHERE article = ? AND pieces >= ?", (pieces, article, pieces)
            )
            if taken.rowcount == 0:
                raise OutOfStock("%d of %s" % (pieces, article))
            shop.execute("INSERT INTO reserved VALUES (?, ?, ?)", (order["id"], article, pieces))
    return {"reserved": True}
