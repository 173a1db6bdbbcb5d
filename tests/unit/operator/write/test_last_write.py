"""What was said once may be said again later: others who go on changing it do not make anybody hot."""

from podnuma.operator.write.last_write import LastWrite


def test_what_others_changed_is_said_again_less_often_than_what_is_new():
    nothing, last = LastWrite(), LastWrite("this", "brief", 1.0)
    assert nothing.pause("this", 1.0) == 1.0
    assert last.pause("that", 1.0) == 1.0
    assert last.pause("this", 1.0) == 5.0
    assert last.pause("this", 60.0) == 60.0
