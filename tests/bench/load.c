/*
 * Loads a broker over raw sockets, on one thread and with epoll, so that little of the machine goes
 * into the load itself. What it sends comes from a file that tests/bench/fleet.py writes: for each
 * device a CONNECT packet after its length (32 bits), and its telemetry topic after its length (16
 * bits), in network byte order. MQTT 3.1.1.
 *
 *   load connect PORT FILE FIRST COUNT INFLIGHT    CONNECT, CONNACK, DISCONNECT, end of the connection
 *   load hold    PORT FILE FIRST COUNT INFLIGHT    connects and stays until standard input ends
 *   load publish PORT FILE FIRST COUNT MESSAGES    QoS 0, 64 bytes, from COUNT clients in turn; for each line it reads
 *   load probe   PORT FILE FIRST MICROSECONDS      PINGREQ and PINGRESP until standard input ends
 *
 * It prints "ready" when everybody is connected and reads a line before it goes on (hold, publish,
 * probe), then a line of figures. Anything unexpected ends it with an error: a refused device
 * would make the figures worthless.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, MAX_SAMPLES = 1 << 20, PAYLOAD = 64 };

struct device { const uint8_t *connect; uint32_t connect_length; const uint8_t *topic; uint16_t topic_length; };

static struct device *devices;
static size_t device_count;
static struct sockaddr_in broker = {.sin_family = AF_INET};

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "not as expected");
	exit(1);
}

static void need(bool good, const char *what)
{
	if(!good) die(what);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void read_fleet(const char *path)
{
	struct stat status;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	need(file >= 0 && !fstat(file, &status), path);
	size_t size = (size_t)status.st_size, at = 0;
	const uint8_t *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
	need(data != MAP_FAILED, path);
	close(file);
	for(int pass = 0; pass < 2; pass++){
		device_count = at = 0;
		while(at < size){
			struct device device;
			need(at + 4 <= size, path);
			device.connect_length = (uint32_t)data[at] << 24 | (uint32_t)data[at + 1] << 16 | (uint32_t)data[at + 2] << 8 | data[at + 3];
			device.connect = data + at + 4;
			at += 4 + device.connect_length;
			need(at + 2 <= size, path);
			device.topic_length = (uint16_t)(data[at] << 8 | data[at + 1]);
			device.topic = data + at + 2;
			at += 2 + device.topic_length;
			need(at <= size, path);
			if(pass) devices[device_count] = device;
			device_count++;
		}
		if(!pass) need((devices = calloc(device_count + 1, sizeof(*devices))) != NULL, "memory");
	}
}

static int dial(bool wait)
{
	int one = 1;
	int link = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
	need(link >= 0, "socket");
	setsockopt(link, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	need(!connect(link, (struct sockaddr *)&broker, sizeof(broker)) || errno == EINPROGRESS, "connect");
	errno = 0;
	return link;
}

static void send_whole(int link, const void *data, size_t length)
{
	const uint8_t *at = data;
	while(length){
		ssize_t sent = send(link, at, length, MSG_NOSIGNAL);
		if(sent < 0 && errno == EINTR) continue;
		need(sent > 0, "send");
		at += sent;
		length -= (size_t)sent;
	}
}

static void receive_whole(int link, void *data, size_t length)
{
	uint8_t *at = data;
	while(length){
		ssize_t got = recv(link, at, length, 0);
		if(got < 0 && errno == EINTR) continue;
		need(got > 0, "receive");
		at += got;
		length -= (size_t)got;
	}
}

static int enter(const struct device *device)
{
	uint8_t answer[4];
	int link = dial(true);
	send_whole(link, device->connect, device->connect_length);
	receive_whole(link, answer, sizeof(answer));
	errno = 0;
	need(answer[0] == 0x20 && answer[3] == 0, "CONNACK");
	return link;
}

static void ready(void)
{
	char line[8];
	puts("ready");
	fflush(stdout);
	if(!fgets(line, sizeof(line), stdin)) exit(0);
}

/* One connection's way: 0 connecting, 1 CONNECT sent, 2 DISCONNECT sent. */
struct way { int link; uint8_t state, got; uint8_t answer[4]; };

static void connect_all(size_t first, size_t count, size_t in_flight, bool stay)
{
	static const uint8_t DISCONNECT[] = {0xE0, 0};
	struct way *ways = calloc(count, sizeof(*ways));
	struct epoll_event events[EVENTS];
	size_t begun = 0, done = 0, at_once = 0;
	int poller = epoll_create1(EPOLL_CLOEXEC);
	need(ways && poller >= 0, "epoll");
	while(done < count){
		for(; begun < count && at_once < in_flight; begun++, at_once++){
			struct epoll_event event = {.events = EPOLLOUT, .data.u64 = begun};
			ways[begun].link = dial(false);
			need(!epoll_ctl(poller, EPOLL_CTL_ADD, ways[begun].link, &event), "epoll_ctl");
		}
		int found = epoll_wait(poller, events, EVENTS, 30000);
		need(found > 0, "the broker answers no more");
		for(int i = 0; i < found; i++){
			size_t index = events[i].data.u64;
			struct way *way = &ways[index];
			if(way->state == 0){
				struct epoll_event event = {.events = EPOLLIN, .data.u64 = index};
				send_whole(way->link, devices[first + index].connect, devices[first + index].connect_length);
				need(!epoll_ctl(poller, EPOLL_CTL_MOD, way->link, &event), "epoll_ctl");
				way->state = 1;
				continue;
			}
			uint8_t rest[64];
			ssize_t got = way->state == 1 ? recv(way->link, way->answer + way->got, sizeof(way->answer) - way->got, 0)
				: recv(way->link, rest, sizeof(rest), 0);
			if(got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
			if(way->state == 1){
				errno = 0;
				need(got > 0, "CONNACK");
				way->got = (uint8_t)(way->got + got);
				if(way->got < sizeof(way->answer)) continue;
				need(way->answer[0] == 0x20 && way->answer[3] == 0, "CONNACK");
				if(!stay){
					send_whole(way->link, DISCONNECT, sizeof(DISCONNECT));
					way->state = 2;
					continue;
				}
				need(!epoll_ctl(poller, EPOLL_CTL_DEL, way->link, NULL), "epoll_ctl");
			}else{
				/* Whether it ends with FIN or RST, the broker has dealt with everything by now. */
				if(got > 0) continue;
				close(way->link);
			}
			done++;
			at_once--;
		}
	}
	close(poller);
	free(ways);
}

static void publish(size_t first, size_t clients, size_t messages)
{
	static const uint8_t PING[] = {0xC0, 0};
	uint8_t (*packets)[512] = calloc(clients, sizeof(*packets));
	size_t *lengths = calloc(clients, sizeof(*lengths));
	int *links = calloc(clients, sizeof(*links));
	enum { BATCH = 100 };
	need(packets && lengths && links, "memory");
	uint8_t *batch = malloc(BATCH * sizeof(*packets));
	need(batch != NULL, "memory");
	for(size_t i = 0; i < clients; i++){
		const struct device *device = &devices[first + i];
		size_t body = 2u + device->topic_length + PAYLOAD;
		need(device->topic_length < 200, "a topic of less than 200 bytes");
		uint8_t *at = packets[i];
		*at++ = 0x30;
		if(body >= 128) *at++ = (uint8_t)(body % 128 | 128);
		*at++ = (uint8_t)(body >= 128 ? body / 128 : body);
		*at++ = (uint8_t)(device->topic_length >> 8);
		*at++ = (uint8_t)device->topic_length;
		memcpy(at, device->topic, device->topic_length);
		memset(at + device->topic_length, '7', PAYLOAD);
		lengths[i] = (size_t)(at - packets[i]) + device->topic_length + PAYLOAD;
		links[i] = enter(device);
	}
	puts("ready");
	fflush(stdout);
	char line[8];
	while(fgets(line, sizeof(line), stdin)){
		double began = now();
		for(size_t sent = 0; sent < messages; sent += BATCH * clients){
			for(size_t i = 0; i < clients; i++){
				for(size_t n = 0; n < BATCH; n++) memcpy(batch + n * lengths[i], packets[i], lengths[i]);
				send_whole(links[i], batch, BATCH * lengths[i]);
			}
		}
		for(size_t i = 0; i < clients; i++) send_whole(links[i], PING, sizeof(PING));
		for(size_t i = 0; i < clients; i++){
			uint8_t answer[2];
			receive_whole(links[i], answer, sizeof(answer));
			errno = 0;
			need(answer[0] == 0xD0, "PINGRESP");
		}
		printf("{\"seconds\": %.6f}\n", now() - began);
		fflush(stdout);
	}
}

static int ascending(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;
	return left < right ? -1 : left > right;
}

/*
 * How long a PINGREQ waits that is sent at any moment. One is on its way at a time, as with real
 * clients (the broker reads one packet of a client at each turn of its loop: more would queue behind
 * each other). Moments that pass meanwhile count as well: a ping sent then would have waited for the
 * same turn of the loop, so a stall weighs as much as it lasts.
 */
static void probe(size_t index, double interval)
{
	static const uint8_t PING[] = {0xC0, 0};
	double *waited = calloc(MAX_SAMPLES, sizeof(*waited));
	size_t samples = 0;
	need(waited != NULL, "memory");
	int link = enter(&devices[index]);
	ready();
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	double next = now();
	for(;;){
		double left = next - now();
		struct timespec wait = {.tv_nsec = left > 0 ? (long)(left * 1e9) : 0};
		need(ppoll(&input, 1, &wait, NULL) >= 0, "poll");
		if(input.revents) break;
		uint8_t answer[2];
		double sent = now();
		send_whole(link, PING, sizeof(PING));
		receive_whole(link, answer, sizeof(answer));
		errno = 0;
		need(answer[0] == 0xD0, "PINGRESP");
		/* Else the broker's next small answer waits for our acknowledgement (Nagle): 40 ms of ours, not its. */
		setsockopt(link, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
		for(double after = now() - sent; after > 0 && samples < MAX_SAMPLES; after -= interval) waited[samples++] = after;
		next = sent + interval;
		if(next < now()) next = now();
	}
	need(samples > 0, "an answer");
	qsort(waited, samples, sizeof(*waited), ascending);
	printf("{\"samples\": %zu, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f}\n", samples,
			waited[samples / 2] * 1e3, waited[samples * 99 / 100] * 1e3, waited[samples - 1] * 1e3);
}

int main(int argc, char **argv)
{
	if(argc < 6){
		fprintf(stderr, "usage: load connect|hold|publish|probe PORT FILE FIRST …\n");
		return 2;
	}
	const char *what = argv[1];
	broker.sin_port = htons((uint16_t)atoi(argv[2]));
	broker.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	read_fleet(argv[3]);
	size_t first = strtoul(argv[4], NULL, 10), number = strtoul(argv[5], NULL, 10);
	size_t more = argc > 6 ? strtoul(argv[6], NULL, 10) : 0;
	bool many = !strcmp(what, "connect") || !strcmp(what, "hold") || !strcmp(what, "publish");
	errno = 0;
	need(first + (many ? number : 1) <= device_count, "enough devices in the file");
	double began = now();
	if(!strcmp(what, "connect")){
		connect_all(first, number, more, false);
		printf("{\"seconds\": %.6f}\n", now() - began);
	}else if(!strcmp(what, "hold")){
		connect_all(first, number, more, true);
		ready();
	}else if(!strcmp(what, "publish")){
		publish(first, number, more);
	}else if(!strcmp(what, "probe")){
		probe(first, (double)number / 1e6);
	}else{
		die(what);
	}
	return 0;
}
