/* SPDX-License-Identifier: MIT */
/*
 * A published key and what was sealed with it: Wycheproof (https://github.com/C2SP/wycheproof), rsa_oaep_2048_sha256_mgf1sha256_test.json, tcId 7. Everybody
 * has this key: it is for tests.
 */
#ifndef REELD_TESTS_SEALED_H
#define REELD_TESTS_SEALED_H

#define SEALED_KEY_PEM                                                       \
	"-----BEGIN RSA PRIVATE KEY-----\n"                                  \
	"MIIEowIBAAKCAQEAorRRoH0KpfluRVZxUTVQUUqKW0YuvvcXCU+h/ugiJOY3+XRt\n" \
	"P3yv0xh42AMltu9aFwD2WQO0aUKeidbqyIRQl7WrOTGJ25JRLtincRoSU/rNIPec\n" \
	"Fegkfz0+QuRuSMmOJUov6XZTE6A+/48X4aApOXofomqNzib0kO2BKZYV2YFMItph\n" \
	"BCjgnH2WWFlCZvXAIdD87KCNlFoSvoLeTR7Oa0wDFFtdNJXU7VQR64eNrwX9evw+\n" \
	"Ca2g8RJkIvWQl1oZaYFvSGmLy7obTZyuedRg2Pn4Xnl1AF2bwixOWsD3waRdElaa\n" \
	"YoB9O5oC5aUw53MGb0U9H1tMLpz3ggKD90K51QIDAQABAoIBAHYn7vNWeyonJo5S\n" \
	"BT7NMcOnFyzLndzugZswals8ZrdXPKT6iO/G88SgC/oK5xOfZFQ6Taw9BYI/b/R3\n" \
	"z87IT+KsemixcgSzkCMuEQMQxOiZxOfBCWfbSs3gQtu/GdvgC0tHQd4QIKqq/7UF\n" \
	"THl8nxNvfZOsP8jK/2ZUJC14IevuUXv1N/RDZqD91FrgW5kJwubMHtkoHv9Dmfds\n" \
	"lrliM+wprgu/DXUrI0/BlzifUQUKoazQHAdMOsj7256otlGpWZXo20rVxDtshnPl\n" \
	"oSbn7pS43/TFr8ASWbyNp2lQuub4uucV9QmFsNb2bQTG/vO3AHIO7NzfFxu3sey+\n" \
	"conEZ8ECgYEA3EMQUPeC6JT7UkgkfZjLfVi40eJPO1XQQcVuTeCGsNW7AovaQu61\n" \
	"0jTVaB5YCdQV5qKJrUz794+Xj2w1gU9Q7r/xxbgKafeI6B5rq13ap4Np1lnRQ+xv\n" \
	"F+eYE6V1z62cVpFWuQET4ukRCtnntIock0im5lMyEZEpDqNs+zpbGPECgYEAvRqB\n" \
	"55d/mJgSInOuMiK1mOpfsZ606rw4MIpeMhlmA7LlAP+3n1uIaBZhHevEcvrEVUQH\n" \
	"C+sFfJQTeKaGivO3oD0/mIDsR9XgiblPveVCq6mujXLFcIjXq/WxMfOQmPe8Fg+Q\n" \
	"U2q8lJL9Tgbz7XKZ1Ll7sDZ3IH2VZp8UDPvCDyUCgYEAqUtSiyjykVmRIdkZUv/R\n" \
	"x/IdfBR52Z1HiIX7Fhhw7hIYvwhHJhLb5Ul+jZxlBojgnHhpYa4+LDVNxIrjRRR1\n" \
	"nEwjxFiEiJYdwGtBTmHA4ef7vSkj0xUy/iifltoiBxHljBQBmAjgBBQnaTO7B+Tv\n" \
	"ubSps3ZWkXIFIJ8z8JUV18ECgYA68OcqkzrvCf8lA994uv7VMcAv8aK8Q3xUDNy9\n" \
	"StNUNc9RF2NZZUNIBimxFMp/eA/376MuoMtuAA1tnqHy73H9nPmUhCKhZVV+N+dV\n" \
	"7f5w2QuSBQLrR4vJimP3iM46D4Vtbt5yUaODv6j6SAqBqSWvezzFOMS6uMn3WX/7\n" \
	"aAEdjQKBgCZA+/vP77Fj7nqHtkg6Zu5B+VbZD6ink5v8BC7gkksbeZPQRF91jVGT\n" \
	"PoUXnAMgsMlotIqRw4tb6SPhCXwMVi+I1CKUtqJ1m6+lQop08ScIdORfb8xg8hYC\n" \
	"3l7M0UPPMSQfWSG1rTmD+1TvF747KFNn5QyZnGcke1Uv5L/OlF97\n"             \
	"-----END RSA PRIVATE KEY-----\n"
/* opens to the 32 bytes e0, e1, … ff */
#define SEALED_CEK_HEX                                                                                                           \
	"096958786ee7972050d67a9e4b69d6c6af7db7cc674386df725770dd29129b826e39552330104c8d71e6cc3a3014dd2f61b54153af51b0438d447e" \
	"e939f9e3c1"                                                                                                             \
	"3bb8b00a37dea6a068f6c9d27e848b1be7a1eeeb3ee50b78036fba95ae46948ca5b13f356ea24db10f60dc09e4b8bad8f766b668ef72524432080a" \
	"0ce00ed676"                                                                                                             \
	"d6d5e354984b1078520412525848156d06f0652469f95791baa3d9a798ae537094f76f976faecd5c9ce0c930a75910c63dacf63485cb4b5e7bdbcf" \
	"4d80e74037"                                                                                                             \
	"eaa1a8fe4b52930bec6be99cf6ac88cf5878dbf6859d456a95dbc34654eec425de84ca2a535d517403a9aada827e7d0093ecfc97ed056a7652825e" \
	"9a45cb2dcb"
#define SEALED_CEK_BASE64                                                                                      \
	"CWlYeG7nlyBQ1nqeS2nWxq99t8xnQ4bfcldw3SkSm4JuOVUjMBBMjXHmzDowFN0vYbVBU69RsEONRH7pOfnjwTu4sAo33qagaPbJ" \
	"0n6Eixvnoe7rPuULeANvupWuRpSMpbE/NW6iTbEPYNwJ5Li62PdmtmjvclJEMggKDOAO1nbW1eNUmEsQeFIEElJYSBVtBvBlJGn5" \
	"V5G6o9mnmK5TcJT3b5dvrs1cnODJMKdZEMY9rPY0hctLXnvbz02A50A36qGo/ktSkwvsa+mc9qyIz1h42/aFnUVqldvDRlTuxCXe" \
	"hMoqU11RdAOpqtqCfn0Ak+z8l+0FanZSgl6aRcstyw=="

#endif
