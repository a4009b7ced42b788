"""Unit tests import the collection by its own name."""

from tests import collection

collection.offer()
