# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that say which namespace of which cluster is meant."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment muejam.celery.cluster."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig. Without it E(K8S_AUTH_KUBECONFIG), E(KUBECONFIG) or C(~/.kube/config); within a pod its
        own cluster.
      - E(K8S_AUTH_HOST) with E(K8S_AUTH_API_KEY), as AWX sets them, come before all of these.
    type: path
  context:
    description:
      - Context of the kubeconfig. Without it E(K8S_AUTH_CONTEXT) or the current one.
    type: str
  namespace:
    description:
      - Namespace of the fleets. Without it that of the context.
    type: str
"""
