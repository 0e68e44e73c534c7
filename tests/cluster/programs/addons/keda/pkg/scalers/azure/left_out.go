// Copyright: muejam.celery contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package azure stands for the one of KEDA's that needs the SDK of Azure.
package azure

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-logr/logr"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
)

const (
	ServicePrincipalAuthKey                      = "azureServicePrincipal"
	ServicePrincipalTenantIDKey                  = "azureServicePrincipalTenantId"
	ServicePrincipalClientIDKey                  = "azureServicePrincipalClientId"
	ServicePrincipalCloudKey                     = "azureServicePrincipalCloud"
	ServicePrincipalActiveDirectoryEndpointKey   = "azureServicePrincipalActiveDirectoryEndpoint"
	ServicePrincipalClientSecretKey              = "azureServicePrincipalClientSecret"
	ServicePrincipalClientCertificateKey         = "azureServicePrincipalClientCertificate"
	ServicePrincipalClientCertificatePasswordKey = "azureServicePrincipalClientCertificatePassword"
)

var errLeftOut = errors.New("this KEDA is built without Azure")

type ADWorkloadIdentityTokenProvider struct{}

func NewAzureADWorkloadIdentityTokenProvider(context.Context, string, string, string, string) *ADWorkloadIdentityTokenProvider {
	return &ADWorkloadIdentityTokenProvider{}
}

func (*ADWorkloadIdentityTokenProvider) OAuthToken() string { return "" }

func (*ADWorkloadIdentityTokenProvider) Refresh() error { return errLeftOut }

func TryAndGetAzureManagedPrometheusHTTPRoundTripper(_ logr.Logger, identity kedav1alpha1.AuthPodIdentity, _ map[string]string) (http.RoundTripper, error) {
	if identity.Provider == kedav1alpha1.PodIdentityProviderAzureWorkload {
		return nil, errLeftOut
	}
	return nil, nil
}
