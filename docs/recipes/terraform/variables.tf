# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors

variable "name" {
  description = "Prefix of the names of everything here."
  type        = string
  default     = "nat"
}

variable "vpc_id" {
  type = string
}

variable "vpc_cidrs" {
  description = "IPv4 networks of the VPC: who may use the instances."
  type        = list(string)
}

variable "vpc_ipv6_cidrs" {
  description = "IPv6 networks of the VPC; none leaves IPv6 alone."
  type        = list(string)
  default     = []
}

variable "zones" {
  description = "By availability zone: the public subnet, and the private route tables by names of your own."
  type = map(object({
    public_subnet_id = string
    route_table_ids  = map(string)
  }))
}

variable "user_data" {
  description = "By availability zone: what 'natfleet token create --vpc-cidr CIDR... -o user-data' printed."
  type        = map(string)
  sensitive   = true
}

variable "image_id" {
  description = "An image where natfleet-agent is installed."
  type        = string
}

variable "instance_type" {
  type    = string
  default = "t4g.small"
}

variable "forwarded_ports" {
  description = "Ports that policies forward, by names of your own."
  type = map(object({
    protocol     = string
    port         = number
    sources      = optional(list(string), ["0.0.0.0/0"])
    ipv6_sources = optional(list(string), [])
  }))
  default = {}
}
