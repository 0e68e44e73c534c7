// Copyright: muejam.celery contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package aws stands for the one of KEDA's that needs the SDK of AWS.
package aws

import (
	"errors"
	"net/http"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
)

func NewSigV4RoundTripper(config *scalersconfig.ScalerConfig, _ string) (http.RoundTripper, error) {
	switch config.PodIdentity.Provider {
	case kedav1alpha1.PodIdentityProviderAws, kedav1alpha1.PodIdentityProviderAwsEKS:
		return nil, errors.New("this KEDA is built without AWS")
	}
	return nil, nil
}
