/*
 * The least that answers ARP: the baseline of `make bench` for the time from request to reply.
 *
 * One packet socket, a filter in the kernel for requests for the one address, and a loop of one blocking receive and
 * one send. It checks nothing that the filter does not, announces nothing and never ends by itself.
 *
 * usage: arp_responder INTERFACE ADDRESS
 * It says "ready" when it listens.
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct __attribute__((packed)) frame {
	struct ether_header ethernet;
	struct ether_arp arp;
};

static void fail(const char *doing)
{
	perror(doing);
	exit(1);
}

/* Requests (operation 1, at octet 20) for the address (at octet 38), whole. */
static void filter(int sock, struct in_addr address)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARPOP_REQUEST, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 38),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(address.s_addr), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog all = { sizeof(program) / sizeof(*program), program };

	if (setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof(all)) < 0)
		fail("attach a filter");
}

static void own_mac(int sock, const char *interface, unsigned char *mac)
{
	struct ifreq request = { 0 };

	strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
	if (ioctl(sock, SIOCGIFHWADDR, &request) < 0)
		fail(interface);
	memcpy(mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
}

static void turn_into_reply(struct frame *frame, const unsigned char *mac)
{
	unsigned char address[4];

	memcpy(address, frame->arp.arp_tpa, 4);
	memcpy(frame->ethernet.ether_dhost, frame->ethernet.ether_shost, ETH_ALEN);
	memcpy(frame->ethernet.ether_shost, mac, ETH_ALEN);
	frame->arp.arp_op = htons(ARPOP_REPLY);
	memcpy(frame->arp.arp_tha, frame->arp.arp_sha, ETH_ALEN);
	memcpy(frame->arp.arp_tpa, frame->arp.arp_spa, 4);
	memcpy(frame->arp.arp_sha, mac, ETH_ALEN);
	memcpy(frame->arp.arp_spa, address, 4);
}

int main(int count, char **words)
{
	struct sockaddr_ll where = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP) };
	unsigned char mac[ETH_ALEN];
	struct in_addr address;
	struct frame frame;

	if (count != 3 || inet_pton(AF_INET, words[2], &address) != 1) {
		fprintf(stderr, "usage: %s INTERFACE ADDRESS\n", words[0]);
		return 2;
	}
	/* Protocol 0 receives nothing until the filter is in place. */
	int sock = socket(AF_PACKET, SOCK_RAW, 0);
	if (sock < 0)
		fail("open a packet socket");
	own_mac(sock, words[1], mac);
	filter(sock, address);
	where.sll_ifindex = if_nametoindex(words[1]);
	if (bind(sock, (struct sockaddr *)&where, sizeof(where)) < 0)
		fail("bind the packet socket");
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (recv(sock, &frame, sizeof(frame), 0) != sizeof(frame))
			continue;
		turn_into_reply(&frame, mac);
		if (send(sock, &frame, sizeof(frame), 0) < 0)
			perror("send");
	}
}
