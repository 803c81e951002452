"""The table of trust zones, cell by cell."""

import pytest

from faceflow.errors import TrustError
from faceflow.job import Sensitivity
from faceflow.zones import Zone, require_zone

YES = {
    ("restricted", "isolated"),
    ("private", "isolated"),
    ("private", "private"),
    ("public", "isolated"),
    ("public", "private"),
    ("public", "public"),
}


@pytest.mark.parametrize("sensitivity", list(Sensitivity))
@pytest.mark.parametrize("zone", list(Zone))
def test_table(sensitivity, zone):
    if (sensitivity, zone) in YES:
        require_zone(sensitivity, zone, "here")
        return
    with pytest.raises(TrustError) as caught:
        require_zone(sensitivity, zone, "here")
    assert caught.value.code == "trust.zone"
    assert caught.value.exit_code == 2
    assert not caught.value.retryable
    assert caught.value.fields == {"sensitivity": sensitivity.value, "zone": zone.value}
