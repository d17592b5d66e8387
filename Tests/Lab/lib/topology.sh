# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2034 # read by the files that source this one
#
# The lab as data. Every address outside the VPC is one of those reserved for documentation.

vpc4=10.0.0.0/16
vpc6=2001:db8:0:100::/56
public4=203.0.113          # public IPv4 addresses, mapped one to one by the internet gateway
outside4=198.51.100        # the internet's own
outside6=2001:db8:ffff:

# name third-octet route-table: where the subnet's default routes of both families point
subnets=(
    "pub 0 igw"
    "a 1 nat-a"
    "b 2 nat-b"
    "c 3 nat-c"
    "x 4 nat-a"
    "in 9 none"
)
private_subnets=(a b c x)
declare -A octet=([pub]=0 [a]=1 [b]=2 [c]=3 [x]=4 [in]=9)

# name subnet number: 10.0.OCTET.NUMBER and 2001:db8:0:10OCTET::NUMBER
hosts=(
    "controller pub 5"
    "nat-a pub 11"
    "nat-b pub 12"
    "nat-c pub 13"
    "client-a a 10"
    "server-a a 80"
    "client-b b 10"
    "server-b b 80"
    "client-c c 10"
    "server-c c 80"
    "client-x x 10"
)
outside_hosts=("internet 7" "outsider 99")
instances=(nat-a nat-b nat-c)
# Hosts of the public subnet that the internet gateway gives a public IPv4 address: 203.0.113.NUMBER.
mapped=(5 11 12 13)
declare -A nat_number=([nat-a]=11 [nat-b]=12 [nat-c]=13)

servers=(server-a server-b server-c)
server_ports=(tcp 80 9000-9019 udp 53)
internet_ports=(tcp 80 443 udp 53 123 ping)

net4() { printf '10.0.%s.0/24' "${octet[$1]}"; }
net6() { printf '2001:db8:0:10%s::/64' "${octet[$1]}"; }
addr4() { printf '10.0.%s.%s' "${octet[$1]}" "$2"; }
addr6() { printf '2001:db8:0:10%s::%s' "${octet[$1]}" "$2"; }
mac() { printf '02:00:0a:00:%02x:%02x' "${octet[$1]}" "$2"; }

print_map() {
    cat <<END
${1:+lab $1}
      internet                                  outsider
      198.51.100.7  2001:db8:ffff::7            198.51.100.99  2001:db8:ffff::99
      tcp 80 443   udp 53 123                      |
         |                                         |
   ------+--------------+--------------------------+------  198.51.100.0/24  2001:db8:ffff::/64
                        |
                       igw     203.0.113.N <-> 10.0.0.N for N = 5, 11, 12, 13; other IPv4 sources are dropped
                        |
                      router   default routes by the subnet that a packet comes from; counts leaks
                        |
   public subnet        |  10.0.0.0/24  2001:db8:0:100::/64  default -> igw  (IPv6: router advertisements)
   ---+-----------+-----+-----+------------+---------------
      |           |           |            |
   controller   nat-a       nat-b        nat-c  eth0
   .5  ::5      .11 ::11    .12 ::12     .13 ::13
                                           |    eth1
                                         .13 ::13
                                         --+------  inside subnet 10.0.9.0/24  2001:db8:0:109::/64, at the router

   private subnets, at the router                    hosts                          default routes (both) ->
   a  10.0.1.0/24  2001:db8:0:101::/64    client-a .10 ::10   server-a .80 ::80     nat-a  10.0.0.11  2001:db8:0:100::11
   b  10.0.2.0/24  2001:db8:0:102::/64    client-b .10 ::10   server-b .80 ::80     nat-b  10.0.0.12  2001:db8:0:100::12
   c  10.0.3.0/24  2001:db8:0:103::/64    client-c .10 ::10   server-c .80 ::80     nat-c  10.0.9.13  2001:db8:0:109::13
   x  10.0.4.0/24  2001:db8:0:104::/64    client-x .10 ::10                         nat-a  10.0.0.11  2001:db8:0:100::11
   servers: tcp 80, tcp 9000-9019, udp 53
   the router is .1 and fe80::1 in every subnet; the VPC is 10.0.0.0/16 and 2001:db8:0:100::/56
END
}
