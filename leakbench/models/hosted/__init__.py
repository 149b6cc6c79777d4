"""Models behind a callable or an HTTP endpoint, which answer images and nothing else.

endpoint.py  where a model is asked and how: a URL, or a TOML file
secrets.py   environment variables that headers and the address name
question.py  one question, and its key among kept answers
wire.py      from a question to a request, and from a reply to an image's bytes
http.py      one HTTP request with a deadline and a limit of size
ledger.py    calls and money spent, rate and budget, over all processes
client.py    a question asked until it is answered
answers.py   answers kept on disk
service.py   questions answered from disk or by the client
release.py   the release that attacks meet
"""
