#!/usr/bin/python
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take fleets out of the hands of the daemon celery-autoscaler."""

from __future__ import annotations

DOCUMENTATION = r"""
module: let_go
short_description: Takes fleets out of the hands of the daemon celery-autoscaler
description:
  - Has the daemon of a host scale some fleets no more, before somebody else drains, removes or sizes them. It goes on
    to observe them.
  - This holds until the role P(muejam.celery.autoscaler#role) writes the configuration of the daemon anew.
  - Where there is no daemon nothing is done.
version_added: 0.1.0
author:
  - muejam.celery contributors (@muejam)
options:
  fleets:
    description: Names of the fleets to let go of. By default all but those of O(keep).
    type: list
    elements: str
  keep:
    description: Names of the fleets that it goes on to scale.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells which fleets it would let go of.
    support: full
  diff_mode:
    description: The configuration holds secrets, so no difference is shown.
    support: none
seealso:
  - module: muejam.celery.scale
"""

EXAMPLES = r"""
- name: Take a fleet out of the daemon's hands, before it is drained
  muejam.celery.let_go:
    fleets: [web]
  become: true
"""

RETURN = r"""
fleets:
  description: The fleets that it scaled until now and does not any more.
  returned: success
  type: list
  elements: str
  sample: [web]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.muejam.celery.plugins.module_utils.autoscaler.letting_go import Hands
from ansible_collections.muejam.celery.plugins.module_utils.errors import OperationError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "fleets": {"type": "list", "elements": "str"},
            "keep": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        gone = Hands().let_go(module.params["fleets"], module.params["keep"], module.check_mode)
    except OperationError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The configuration of the autoscaler could not be written: {error}. Make room for it.")
    module.exit_json(changed=bool(gone), fleets=gone)


if __name__ == "__main__":
    main()
