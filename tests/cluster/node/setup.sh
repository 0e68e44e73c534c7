#!/bin/sh
# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Make a fresh node what its units expect: certificates, kubeconfigs, its own place among the control groups.
set -eu
here="$(dirname "$0")"
pki=/etc/kubernetes/pki
kubeconfigs=/etc/kubernetes
address="$(hostname -i | cut -d' ' -f1)"
umask 077
mkdir -p "$pki"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$1.key"; }

authority() { # name
  key "$1"
  openssl req -x509 -new -key "$pki/$1.key" -subj "/CN=$1" -days 365 -out "$pki/$1.crt"
}

issue() { # name, authority, subject, further names
  key "$1"
  {
    echo "basicConstraints = CA:FALSE"
    echo "extendedKeyUsage = serverAuth, clientAuth"
    if [ -n "${4:-}" ]; then echo "subjectAltName = $4"; fi
  } >"$pki/$1.ext"
  openssl req -new -key "$pki/$1.key" -subj "$3" |
    openssl x509 -req -CA "$pki/$2.crt" -CAkey "$pki/$2.key" -CAcreateserial -days 365 -extfile "$pki/$1.ext" \
      -out "$pki/$1.crt" 2>/dev/null
}

kubeconfig() { # name: that of the certificate
  file="$kubeconfigs/$1.kubeconfig"
  kubectl config --kubeconfig="$file" set-cluster bed --server="https://$address:6443" \
    --certificate-authority="$pki/ca.crt" --embed-certs
  kubectl config --kubeconfig="$file" set-credentials "$1" --client-certificate="$pki/$1.crt" \
    --client-key="$pki/$1.key" --embed-certs
  kubectl config --kubeconfig="$file" set-context bed --cluster=bed --user="$1"
  kubectl config --kubeconfig="$file" use-context bed
}

authority ca
# What the API server says as a proxy must not be taken for a client's own word, so this is another authority.
authority front-proxy-ca
issue apiserver ca /CN=kube-apiserver \
  "IP:$address, IP:127.0.0.1, IP:10.96.0.1, DNS:localhost, DNS:kubernetes, DNS:kubernetes.default, DNS:kubernetes.default.svc"
issue apiserver-kubelet-client ca "/O=system:masters/CN=apiserver-kubelet-client"
issue front-proxy-client front-proxy-ca /CN=front-proxy-client
issue admin ca "/O=system:masters/CN=admin"
issue controller-manager ca /CN=system:kube-controller-manager
issue scheduler ca /CN=system:kube-scheduler
issue proxy ca /CN=system:kube-proxy
issue kubelet ca "/O=system:nodes/CN=system:node:$(hostname)" "IP:$address, DNS:$(hostname)"
key service-accounts
openssl ec -in "$pki/service-accounts.key" -pubout -out "$pki/service-accounts.pub" 2>/dev/null
for name in admin controller-manager scheduler proxy kubelet; do kubeconfig "$name" >/dev/null; done

# The engine removes the control groups of this container with it, so those of the pods lie below them.
own="$(sed -n 's/^[0-9]*:\(name=systemd\)\?:\(.*\)$/\2/p' /proc/1/cgroup | sed 's,/init.scope$,,' | grep -v '^/$' | head -1)"
groups="${own%/}/pods"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p "/sys/fs/cgroup$groups"
else
  for controller in /sys/fs/cgroup/*; do
    if [ -e "$controller/cgroup.procs" ]; then mkdir -p "$controller$groups"; fi
  done
  # A new set of cores is empty until it is filled, which nobody else does on this way down.
  cd /sys/fs/cgroup/cpuset
  path="."
  for part in $(echo "$groups" | tr / ' '); do
    for file in cpuset.cpus cpuset.mems; do
      if [ -z "$(cat "$path/$part/$file")" ]; then cat "$path/$file" >"$path/$part/$file"; fi
    done
    path="$path/$part"
  done
fi

# The kubelet insists on settings of the kernel that are the whole machine's. It reads what it wants, and writes nothing.
settings=/run/kernel-settings
mkdir -p "$settings"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  name="${setting%=*}"
  file="$settings/$(echo "$name" | tr / .)"
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/$name"
done

printf 'NODE_ADDRESS=%s\nPOD_GROUPS=%s\n' "$address" "$groups" >/etc/kubernetes/node.env
install -m 0644 "$here"/units/*.service /etc/systemd/system/
mkdir -p /etc/cni/net.d
install -m 0644 "$here"/cni/*.conflist /etc/cni/net.d/
systemctl daemon-reload

# KEDA's two halves trust each other by what lies in one directory.
issue keda ca /CN=keda-operator.keda.svc.cluster.local \
  "DNS:keda-operator.keda.svc.cluster.local, DNS:localhost, IP:127.0.0.1"
mkdir -p "$pki/keda"
cp "$pki/ca.crt" "$pki/keda/ca.crt"
cp "$pki/keda.crt" "$pki/keda/tls.crt"
cp "$pki/keda.key" "$pki/keda/tls.key"
