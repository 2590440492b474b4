# Makes the calls that stand in the input with the vendor's library for Python, and prints what came of each.
import json
import sys
from concurrent.futures import ThreadPoolExecutor

from LoginRadius import LoginRadius

asked = json.load(sys.stdin)
LoginRadius.API_KEY = asked["apiKey"]
LoginRadius.API_SECRET = asked["apiSecret"]
LoginRadius.CUSTOM_DOMAIN = f"https://127.0.0.1:{asked['port']}/"

outcomes = []
with ThreadPoolExecutor(8) as pool:
    for wanted in asked["calls"]:
        library = LoginRadius()
        for name, value in wanted.get("settings", {}).items():
            setattr(library, name, value)
        api, method, *parameters = wanted["call"]
        call = getattr(getattr(library, api), method)
        running = [pool.submit(call, *parameters) for _ in range(wanted.get("times", 1))]
        for one in running:
            answer = one.result()
            name = "refusal" if "ErrorCode" in answer else "answer"
            outcomes.append({name: answer})
print(json.dumps(outcomes))
