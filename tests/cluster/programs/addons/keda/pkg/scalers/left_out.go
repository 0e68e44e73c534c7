// Copyright: muejam.celery contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package scalers

// What the scalers that are kept take from files that are left out.
const (
	externalMetricType = "External"
	stringEnable       = "enable"
	stringDisable      = "disable"
)
