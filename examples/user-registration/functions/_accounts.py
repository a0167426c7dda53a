"""Accounts and letters, as files of a folder."""
import os

FOLDER = os.environ["REGISTRATION_FOLDER"]


def account(email):
    return os.path.join(FOLDER, "accounts", email)


def mail(email):
    return os.path.join(FOLDER, "mail", email)
