"""Stands for the courier, who does not go everywhere."""


class NoCourier(Exception):
    pass


def handler(order, context):
    if order["town"] == "Atlantis":
        raise NoCourier("nobody goes to " + order["town"])
    return {"courier": "van to " + order["town"]}
