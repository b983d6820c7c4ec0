package main

import (
	"fmt"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// observed is all that the rules depend on.
type observed struct {
	pods       []*core.Pod
	namespaces []*core.Namespace
	policies   []*networking.NetworkPolicy
}

// direction says how one of the two kinds of traffic is written in nftables.
type direction struct {
	kind  networking.PolicyType
	chain string
	peer  string // which address is the peer's
	allow string
}

var (
	// Allowed ingress is decided.
	ingress = direction{networking.PolicyTypeIngress, "in", "saddr", "accept"}
	// Allowed egress still has to pass the receiver's ingress.
	egress = direction{networking.PolicyTypeEgress, "out", "daddr", "return"}
)

func selects(selector *meta.LabelSelector, of map[string]string) bool {
	parsed, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(of))
}

// hasAddress says whether a pod has an address of its own, which policies govern.
func hasAddress(pod *core.Pod) bool {
	ended := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
	return !pod.Spec.HostNetwork && pod.Status.PodIP != "" && !ended
}

func (o observed) findPods(keep func(*core.Pod) bool) []*core.Pod {
	var found []*core.Pod
	for _, pod := range o.pods {
		if hasAddress(pod) && keep(pod) {
			found = append(found, pod)
		}
	}
	slices.SortFunc(found, func(a, b *core.Pod) int { return strings.Compare(a.Status.PodIP, b.Status.PodIP) })
	return found
}

// findGoverning returns the policies that restrict a pod in one direction, in the order of their names.
func (o observed) findGoverning(pod *core.Pod, kind networking.PolicyType) []*networking.NetworkPolicy {
	var found []*networking.NetworkPolicy
	for _, policy := range o.policies {
		if policy.Namespace == pod.Namespace && selects(&policy.Spec.PodSelector, pod.Labels) && restricts(policy, kind) {
			found = append(found, policy)
		}
	}
	slices.SortFunc(found, func(a, b *networking.NetworkPolicy) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// restricts applies the API's default: without policyTypes ingress always, egress if there are egress rules.
func restricts(policy *networking.NetworkPolicy, kind networking.PolicyType) bool {
	if len(policy.Spec.PolicyTypes) > 0 {
		return slices.Contains(policy.Spec.PolicyTypes, kind)
	}
	return kind == networking.PolicyTypeIngress || len(policy.Spec.Egress) > 0
}

// findPeers returns the pods that one peer of a rule names.
func (o observed) findPeers(peer networking.NetworkPolicyPeer, namespace string) []*core.Pod {
	named := map[string]bool{namespace: peer.NamespaceSelector == nil}
	for _, each := range o.namespaces {
		if peer.NamespaceSelector != nil {
			named[each.Name] = selects(peer.NamespaceSelector, each.Labels)
		}
	}
	return o.findPods(func(pod *core.Pod) bool {
		return named[pod.Namespace] && (peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels))
	})
}

// matchBlock writes a range of addresses as a match; IPv6 matches nothing, since no pod here has such an address.
func matchBlock(block networking.IPBlock, address string) (string, bool) {
	if strings.Contains(block.CIDR, ":") {
		return "", false
	}
	match := "ip " + address + " " + block.CIDR
	if len(block.Except) > 0 {
		match += " ip " + address + " != { " + strings.Join(block.Except, ", ") + " }"
	}
	return match, true
}

// matchPorts writes a rule's ports as matches, one each. A named port is the receiving pod's; without one it is none.
func matchPorts(ports []networking.NetworkPolicyPort, receiver *core.Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var matches []string
	for _, port := range ports {
		protocol := core.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		written := strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			matches = append(matches, "meta l4proto "+written)
		case port.Port.Type == intstr.Int && port.EndPort != nil:
			matches = append(matches, fmt.Sprintf("%s dport %d-%d", written, port.Port.IntVal, *port.EndPort))
		case port.Port.Type == intstr.Int:
			matches = append(matches, fmt.Sprintf("%s dport %d", written, port.Port.IntVal))
		case receiver != nil:
			for _, number := range findNamedPorts(receiver, port.Port.StrVal, protocol) {
				matches = append(matches, fmt.Sprintf("%s dport %d", written, number))
			}
		}
	}
	return matches
}

func findNamedPorts(pod *core.Pod, name string, protocol core.Protocol) []int32 {
	var found []int32
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			same := port.Protocol == protocol || port.Protocol == "" && protocol == core.ProtocolTCP
			if port.Name == name && same {
				found = append(found, port.ContainerPort)
			}
		}
	}
	return found
}

// renderRule writes what one rule of a policy allows a pod, one line for each peer and port.
func (o observed) renderRule(
	pod *core.Pod, way direction, peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort,
) []string {
	var lines []string
	allow := func(match string, receiver *core.Pod) {
		for _, port := range matchPorts(ports, receiver) {
			lines = append(lines, strings.Join(strings.Fields(match+" "+port+" "+way.allow), " "))
		}
	}
	var receiver *core.Pod // of traffic from or to anywhere
	if way == ingress {
		receiver = pod
	}
	if len(peers) == 0 {
		allow("", receiver)
	}
	for _, peer := range peers {
		if peer.IPBlock != nil {
			if match, ok := matchBlock(*peer.IPBlock, way.peer); ok {
				allow(match, receiver)
			}
			continue
		}
		for _, other := range o.findPeers(peer, pod.Namespace) {
			if way == egress {
				receiver = other
			}
			allow("ip "+way.peer+" "+other.Status.PodIP, receiver)
		}
	}
	return lines
}

// renderPod writes a pod's chain of one direction; no policy governs it if there is none.
func (o observed) renderPod(pod *core.Pod, way direction) (string, bool) {
	policies := o.findGoverning(pod, way.kind)
	if len(policies) == 0 {
		return "", false
	}
	var lines []string
	for _, policy := range policies {
		if way == ingress {
			for _, rule := range policy.Spec.Ingress {
				lines = append(lines, o.renderRule(pod, way, rule.From, rule.Ports)...)
			}
		} else {
			for _, rule := range policy.Spec.Egress {
				lines = append(lines, o.renderRule(pod, way, rule.To, rule.Ports)...)
			}
		}
	}
	lines = append(lines, "counter drop")
	return fmt.Sprintf("  chain %s {\n    %s\n  }\n", nameChain(way, pod), strings.Join(lines, "\n    ")), true
}

func nameChain(way direction, pod *core.Pod) string {
	return way.chain + "-" + pod.Status.PodIP
}

// render writes the whole table. The same observation gives the same text.
func render(o observed, podRange string) string {
	var known, chains, in, out []string
	for _, pod := range o.findPods(func(*core.Pod) bool { return true }) {
		known = append(known, pod.Status.PodIP)
		if chain, ok := o.renderPod(pod, ingress); ok {
			chains = append(chains, chain)
			in = append(in, pod.Status.PodIP+" : goto "+nameChain(ingress, pod))
		}
		if chain, ok := o.renderPod(pod, egress); ok {
			chains = append(chains, chain)
			out = append(out, pod.Status.PodIP+" : jump "+nameChain(egress, pod))
		}
	}
	return replaceTable(fmt.Sprintf(`  set known { type ipv4_addr; %[2]s }
%[3]s  map ingress { type ipv4_addr : verdict; %[4]s }
  map egress { type ipv4_addr : verdict; %[5]s }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    ct state established,related accept
    ip saddr %[1]s ip saddr != @known counter drop
    ip daddr %[1]s ip daddr != @known counter drop
    ip saddr vmap @egress
    ip daddr vmap @ingress
  }
  chain input {
    type filter hook input priority filter - 10; policy accept;
    ct state established,related accept
    ip saddr %[1]s ip saddr != @known counter drop
    ip saddr vmap @egress
  }
`, podRange, renderElements(known), strings.Join(chains, ""), renderElements(in), renderElements(out)))
}

// renderClosed writes the rules of the time before anything is known.
func renderClosed(podRange string) string {
	return replaceTable(fmt.Sprintf(`  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    ip saddr %[1]s counter drop
    ip daddr %[1]s counter drop
  }
`, podRange))
}

// replaceTable declares the table before it deletes it, since deleting what is not there is an error.
func replaceTable(content string) string {
	return "table ip policies\ndelete table ip policies\ntable ip policies {\n" + content + "}\n"
}

func renderElements(elements []string) string {
	if len(elements) == 0 {
		return ""
	}
	return "elements = { " + strings.Join(elements, ", ") + " }"
}
