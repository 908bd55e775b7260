"""Made-up people and the things that they buy."""

import random
from typing import Any

FIRST_NAMES = (
    "Ada",
    "Bela",
    "Chidi",
    "Dana",
    "Emre",
    "Freya",
    "Goran",
    "Hana",
    "Ines",
    "Jonas",
    "Kofi",
    "Lea",
)
LAST_NAMES = ("Adler", "Berg", "Costa", "Dvořák", "Eriksen", "Fischer", "Gómez", "Horvat", "Ito", "Jensen")
STREETS = ("Station Road", "Mill Lane", "Kastanienallee", "Rue du Lac", "Via Roma", "Harbour Street")
CITIES = (("Leiden", "NL"), ("Graz", "AT"), ("Porto", "PT"), ("Lyon", "FR"), ("Galway", "IE"), ("Brno", "CZ"))
# article number, name, price in cents
PRODUCTS = (
    ("MUG-01", "Stoneware mug", 1_450),
    ("LMP-02", "Desk lamp", 5_990),
    ("NBK-03", "Dotted notebook", 990),
    ("KTL-04", "Gooseneck kettle", 7_495),
    ("CHR-05", "Reading chair", 24_900),
    ("BAG-06", "Canvas bag", 3_200),
    ("PEN-07", "Fountain pen", 4_250),
    ("CLK-08", "Wall clock", 6_800),
)


def random_address(rng: random.Random) -> dict[str, str]:
    city, country = rng.choice(CITIES)
    return {
        "street": f"{rng.choice(STREETS)} {rng.randint(1, 99)}",
        "city": city,
        "postcode": str(rng.randint(10_000, 99_999)),
        "country": country,
    }


def random_person(rng: random.Random) -> dict[str, Any]:
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    return {
        "name": f"{first} {last}",
        "email": f"{first.lower()}.{rng.randint(100, 9_999)}@example.com",
        "address": random_address(rng),
    }


def random_items(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {"sku": sku, "name": name, "quantity": rng.randint(1, 3), "unit_price_cents": price}
        for sku, name, price in rng.sample(PRODUCTS, rng.randint(1, 3))
    ]


def total_cents(items: list[dict[str, Any]]) -> int:
    return sum(item["quantity"] * item["unit_price_cents"] for item in items)
