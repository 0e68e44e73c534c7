# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that acts on a fleet of workers."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  fleet:
    description:
      - Name of the fleet, as given to the role P(muejam.celery.worker#role).
      - Small letters, digits and inner hyphens, at most 40 of them.
    type: str
    required: true
  platform:
    description:
      - What runs the fleet.
      - With V(systemd) a worker is a unit C(celery-worker-<fleet>@<n>.service) of the host that the module runs on.
      - With V(kubernetes) a worker is a pod of the Deployment C(celery-worker-<fleet>) in a namespace of a cluster. The
        module runs wherever the cluster can be reached from, usually on the controller, and needs the Python library
        kubernetes 24.2 or newer there.
    type: str
    choices: [systemd, kubernetes]
    default: systemd
  kubeconfig:
    description:
      - With O(platform=kubernetes), path of the file that says where the cluster is and how to log in. Logins by a
        program and by tokens that are renewed work as with C(kubectl).
      - By default the environment variable E(K8S_AUTH_KUBECONFIG), then E(KUBECONFIG), then C(~/.kube/config). In a pod
        without the first, and without a context, it is the pod's own cluster and ServiceAccount.
      - Where E(K8S_AUTH_HOST) and E(K8S_AUTH_API_KEY) are set, as AWX does for a job with a credential of Kubernetes,
        they come before all of these, with E(K8S_AUTH_SSL_CA_CERT) and E(K8S_AUTH_VERIFY_SSL).
    type: path
  context:
    description:
      - With O(platform=kubernetes), which context of O(kubeconfig) to use.
      - By default the environment variable E(K8S_AUTH_CONTEXT), then the current context.
    type: str
  namespace:
    description:
      - With O(platform=kubernetes), the namespace of the fleet.
      - By default that of the context, or of the pod.
    type: str
"""
