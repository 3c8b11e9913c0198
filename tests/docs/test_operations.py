"""What docs/operations.md says of things that have a number."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.store.schema import SCHEMA_VERSION

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


class NumberTests(SynchronousTestCase):
    """They are those of the code."""

    def test_the_copy_before_a_migration_has_the_number_of_the_newest_schema(self):
        self.assertEqual(re.findall(r"before-v(\d+)", TEXT), [str(SCHEMA_VERSION)])
