// Copyright: muejam.celery contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Says when CronJobs come, by the library that Kubernetes reckons with, and in the way in which its controller does
// (pkg/controller/cronjob/utils.go): the zone stands before the five fields.
//
// Reads one JSON object with a list of jobs, and prints a list of the instants of each, in seconds since the epoch.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/robfig/cron/v3"
)

type job struct {
	Schedule string `json:"schedule"`
	TimeZone string `json:"time_zone"`
}

type question struct {
	After int64 `json:"after"`
	Until int64 `json:"until"`
	Jobs  []job `json:"jobs"`
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fail(err)
	}
	found := make([][]int64, 0, len(asked.Jobs))
	for _, each := range asked.Jobs {
		schedule, err := cron.ParseStandard("TZ=" + each.TimeZone + " " + each.Schedule)
		if err != nil {
			fail(err)
		}
		instants := []int64{}
		for at := time.Unix(asked.After, 0); ; {
			next := schedule.Next(at)
			if next.IsZero() || next.Unix() > asked.Until {
				break
			}
			if !next.After(at) {
				// It says so of an instant in Pacific/Chatham, for ever.
				at = at.Add(time.Second)
				continue
			}
			instants = append(instants, next.Unix())
			at = next
		}
		found = append(found, instants)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
