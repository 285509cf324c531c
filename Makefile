# The commands of this repository. Each is one script in dev/, which says in its first lines what it does.
.PHONY: help run demo clients consumers test clusters single-use soak faults upgrade order-facts bench overload bench-import \
	deployment dist stop clean-data

help:
	@echo "make run         build and serve on this machine, with private servers under .local"
	@echo "make demo        play the whole story against the running service"
	@echo "make clients     generate a Python and a TypeScript client, and tell the story with each"
	@echo "make consumers   consumers of the messages in three languages: they lose some, and get them again"
	@echo "make test        format check, lints, and all tests against real servers"
	@echo "make clusters    the service on clusters of PostgreSQL, RabbitMQ and Redis that lose members; ONLY=rabbit one"
	@echo "make single-use  what works once: 64 uses at once on two nodes, 50 rounds of each thing"
	@echo "make soak        kill the service and its broker under load; nothing may be lost"
	@echo "make faults      every fault that the promises are made against, with a table of what was reached; ONLY=F05 one"
	@echo "make upgrade     from the version before to this one and back under load; FROM=COMMIT another one than the last schema's"
	@echo "make order-facts 20 000 facts of orders, each three times, to nodes that are killed; FACTS=2000 a short look"
	@echo "make bench       the service beside its peers, as ratios; ROW=a one row, QUICK=1 a short look"
	@echo "make overload    1, 2, 3 and 5 times as much as can be worked off: who is served and how fast; QUICK=1 a short look"
	@echo "make bench-import  imports against COPY of the same rows; ROWS=50000 a short look"
	@echo "make deployment  the files of deploy/ by the schemas of Kubernetes, of Grafana and of systemd"
	@echo "make dist        the program for any Linux of this processor, with units and documents, as an archive in .local/dist"
	@echo "make stop        stop what make run started; the data stays"
	@echo "make clean-data  stop, and delete the data"
	@echo
	@echo "DATABASE_URL, REDIS_URL, AMQP_URL   use these servers instead of private ones"
	@echo "REDIS_URL=none, AMQP_URL=none       do without Redis, without RabbitMQ"
	@echo "NODES=2                             make run with several nodes (1 to 8) on consecutive ports"
	@echo "RELEASE=1                           make run and make demo with optimisation"

run:
	@dev/run

demo:
	@dev/demo

clients:
	@dev/clients

consumers:
	@dev/consumers

test:
	@dev/test

clusters:
	@dev/clusters

single-use:
	@dev/single-use

soak:
	@dev/soak

faults:
	@dev/faults

upgrade:
	@dev/upgrade

order-facts:
	@dev/order-facts

bench:
	@dev/bench

overload:
	@dev/overload

bench-import:
	@dev/bench-import

deployment:
	@dev/deployment

dist:
	@dev/dist

stop:
	@dev/stop

clean-data:
	@dev/clean-data
