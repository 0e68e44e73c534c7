# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load a Celery app as its worker would, and say what is wrong with it, before a worker is touched.

Started twice by `run_texts.py`. As root by the role, with the request on standard input (the environment of a worker
holds secrets, so it is on no command line): becomes the fleet's user and starts the app's own Python. There, it
imports the app and answers with one line of JSON: {"problems": [...], "celery": "5.6.3", ...}, among them what the app
itself sets for the transport and its queues, so that whoever reads the broker reads it as the app does.
"""
