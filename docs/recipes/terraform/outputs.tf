# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors

output "public_addresses" {
  description = "What the world sees, by availability zone."
  value       = { for zone, address in aws_eip.nat : zone => address.public_ip }
}

output "network_interface_ids" {
  value = { for zone, interface in aws_network_interface.nat : zone => interface.id }
}
