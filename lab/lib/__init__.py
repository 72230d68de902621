# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab, the network tests and the benchmark share: namespaces, hosts, the interceptor, traffic, figures."""
