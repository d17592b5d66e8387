# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
#
# A NAT instance a zone that natfleet configures. The network interface is what stays: it has the addresses, the turned
# off source/destination check and the routes; a group of one machine replaces the machine behind it.

terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.30"
    }
  }
}

locals {
  # One default route for each private route table, in each family that the VPC has.
  routes = merge([
    for zone, settings in var.zones : {
      for name, id in settings.route_table_ids : "${zone}/${name}" => { zone = zone, route_table_id = id }
    }
  ]...)
}

resource "aws_security_group" "nat" {
  name_prefix = "${var.name}-"
  description = "NAT instances"
  vpc_id      = var.vpc_id

  ingress {
    description      = "whoever is translated"
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = var.vpc_cidrs
    ipv6_cidr_blocks = var.vpc_ipv6_cidrs
  }

  dynamic "ingress" {
    for_each = var.forwarded_ports

    content {
      description      = "port forward ${ingress.key}"
      from_port        = ingress.value.port
      to_port          = ingress.value.port
      protocol         = ingress.value.protocol
      cidr_blocks      = ingress.value.sources
      ipv6_cidr_blocks = ingress.value.ipv6_sources
    }
  }

  egress {
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_network_interface" "nat" {
  for_each = var.zones

  description        = "${var.name} ${each.key}"
  subnet_id          = each.value.public_subnet_id
  security_groups    = [aws_security_group.nat.id]
  source_dest_check  = false
  ipv6_address_count = length(var.vpc_ipv6_cidrs) > 0 ? 1 : null

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_eip" "nat" {
  for_each = var.zones

  domain            = "vpc"
  network_interface = aws_network_interface.nat[each.key].id

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_launch_template" "nat" {
  for_each = var.zones

  name_prefix   = "${var.name}-${each.key}-"
  image_id      = var.image_id
  instance_type = var.instance_type
  user_data     = base64encode(var.user_data[each.key])

  network_interfaces {
    device_index          = 0
    network_interface_id  = aws_network_interface.nat[each.key].id
    delete_on_termination = false
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-${each.key}" }
  }
}

resource "aws_autoscaling_group" "nat" {
  for_each = var.zones

  name_prefix = "${var.name}-${each.key}-"
  # By zone and not by subnet, since the template brings the network interface along.
  availability_zones = [each.key]
  min_size           = 1
  max_size           = 1
  desired_capacity   = 1
  health_check_type  = "EC2"

  launch_template {
    id      = aws_launch_template.nat[each.key].id
    version = aws_launch_template.nat[each.key].latest_version
  }

  # The old machine ends before the new one starts: there is one network interface for both.
  instance_maintenance_policy {
    min_healthy_percentage = 0
    max_healthy_percentage = 100
  }

  depends_on = [aws_eip.nat]
}

resource "aws_route" "ipv4" {
  for_each = local.routes

  route_table_id         = each.value.route_table_id
  destination_cidr_block = "0.0.0.0/0"
  network_interface_id   = aws_network_interface.nat[each.value.zone].id
}

resource "aws_route" "ipv6" {
  for_each = length(var.vpc_ipv6_cidrs) > 0 ? local.routes : {}

  route_table_id              = each.value.route_table_id
  destination_ipv6_cidr_block = "::/0"
  network_interface_id        = aws_network_interface.nat[each.value.zone].id
}
