import os
from urllib.parse import quote

from _accounts import mail


def handler(event, context):
    os.makedirs(os.path.dirname(mail(event["email"])), exist_ok=True)
    with open(mail(event["email"]) + ".part", "w") as file:
        file.write("Welcome! Please follow https://shop.example/welcome?token=%s\n" % quote(event["token"], safe=""))
    # A reader finds the whole letter or none.
    os.rename(mail(event["email"]) + ".part", mail(event["email"]))
    return {}
