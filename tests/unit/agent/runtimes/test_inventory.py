from podnuma.agent.containers import Container
from podnuma.agent.runtimes.inventory import Inventory

DB = Container("u-1", "shop", "db", "db", "id-1", 1.0)
LOG = Container("u-1", "shop", "db", "log", "id-2", 1.0)


def test_only_differences_are_told():
    changes = []
    inventory = Inventory(lambda: changes.append(inventory.all()))
    inventory.replace([DB])
    inventory.replace([DB])
    inventory.add(DB)
    inventory.add(LOG)
    inventory.remove("id-1")
    inventory.remove("id-1")
    assert changes == [(DB,), (DB, LOG), (LOG,)]


def test_a_list_is_complete():
    inventory = Inventory(lambda: None)
    inventory.replace([DB, LOG])
    inventory.replace([LOG])
    assert inventory.all() == (LOG,)
