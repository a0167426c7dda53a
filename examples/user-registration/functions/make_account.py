import os

from _accounts import account


class Taken(Exception):
    pass


def handler(event, context):
    os.makedirs(os.path.dirname(account(event["email"])), exist_ok=True)
    try:
        with open(account(event["email"]), "x") as file:
            file.write("not active")
    except FileExistsError:
        raise Taken(event["email"])
    return {}
