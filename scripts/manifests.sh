#!/usr/bin/env bash
# Makes deploy/kubernetes/ of the chart, for those without Helm; with --check it only says what would change.
# Needs helm.
set -euo pipefail
cd "$(dirname "$0")/.."

chart=deploy/helm/outflow
out=deploy/kubernetes
if ! command -v helm >/dev/null 2>&1; then
    echo "manifests: helm isn't installed: https://helm.sh/docs/intro/install/" >&2
    exit 1
fi

render() { # file, words about it, arguments of helm…
    local file=$1 words=$2
    shift 2
    {
        echo "# Made by scripts/manifests.sh of $chart: don't edit."
        echo "# $words"
        helm template outflow "$chart" --namespace outflow --values "$chart/examples/both-sinks.yaml" "$@" 2>/dev/null |
            sed -e '/^# Source: /d' -e '/helm.sh\/chart: /d' -e '/managed-by: Helm/d' -e 's/[[:space:]]*$//' |
            awk '/^---$/ { if (seen) dash = 1; seen = 1; next } /^$/ && !body { next }
                 { if (dash) { print "---"; dash = 0 } body = 1; print }' | cat -s
    } >"$target/$file"
}

target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT

render sinks.yaml "Two sinks, a StatefulSet each, and what both need. Write your addresses into the ConfigMaps." \
    -s templates/serviceaccount.yaml -s templates/networkpolicy.yaml -s templates/configmap.yaml \
    -s templates/service.yaml -s templates/poddisruptionbudget.yaml -s templates/statefulset.yaml
render monitor.yaml "outflow monitor. Write your addresses into the ConfigMap." -s templates/monitor.yaml
render prometheus.yaml "For the Prometheus operator: what to scrape, and the alert rules." \
    --set serviceMonitor.enabled=true,prometheusRule.enabled=true \
    -s templates/servicemonitor.yaml -s templates/prometheusrule.yaml
render keda.yaml "For KEDA: replicas by lag. Take spec.replicas out of the StatefulSets." \
    --set sinks.elasticsearch.autoscaling.enabled=true,sinks.hdfs.autoscaling.enabled=true \
    -s templates/scaledobject.yaml

if [ "${1:-}" = --check ]; then
    for file in "$target"/*.yaml; do
        diff -u "$out/$(basename "$file")" "$file" || changed=1
    done
    if [ -n "${changed:-}" ]; then
        echo "manifests: out of step with the chart: run scripts/manifests.sh" >&2
        exit 1
    fi
else
    cp "$target"/*.yaml "$out/"
fi
