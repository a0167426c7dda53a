import os

from _accounts import account


def handler(event, context):
    try:
        os.remove(account(event["email"]))
    except FileNotFoundError:
        # It was removed before, and this is done once more.
        pass
    return {}
